"""The suite in containers: what start_services.sh and stop_services.sh do with Docker Compose."""
