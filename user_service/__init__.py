"""People: their profiles, how they want to be told of alarms, where they belong, and the devices they carry."""
