"""Files of patients, people and organisations: kept in Google Cloud Storage, reached by links that expire."""
