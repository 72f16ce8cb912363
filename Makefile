# `make` tells what there is. Each target is one command: nothing is to be found here that is not in the scripts.
.DEFAULT_GOAL := help
.PHONY: help start stop validate demo test lint lock logs mail debug test-%

COMPOSE_TEST := docker compose -f docker-compose.yml -f docker-compose.test.yml

help: ## this list
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

start: ## start everything (containers where Docker is, else natively)
	./start_services.sh

stop: ## stop everything, keep the data
	./stop_services.sh

validate: ## read and write through every service
	./validate_endpoints.sh

demo: ## a recording, an alarm, its delivery and its audit trail
	.venv/bin/python -m ops.demo

test: ## everything that must pass before a change lands
	.ci/run

lint: ## style alone
	.venv/bin/ruff check . && .venv/bin/ruff format --check .

lock: ## write ops/requirements*.lock anew from ops/constraints.txt
	.venv/bin/python -m ops.lock

logs: ## follow the logs of all containers
	docker compose logs --follow --tail=20

mail: ## the last e-mails that the containers' catcher kept
	docker compose exec mail python -m ops.native.mail show /var/lib/heartguard/mail 5

debug: ## containers with all ports on loopback
	docker compose -f docker-compose.yml -f docker-compose.debug.yml --profile local up --detach

test-%: ## one service's tests in its container: make test-patient
	$(COMPOSE_TEST) build --quiet $*
	$(COMPOSE_TEST) run --rm $*
