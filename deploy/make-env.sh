#!/bin/sh
# Write the .env of compose.yaml with new secrets: make-env.sh [--trial] HOST
# HOST: the name that clients use. --trial: with a Solana chain of this machine and play money (trial/compose.yaml).
set -eu
umask 077
cd "$(dirname "$0")"

trial=
if [ "${1:-}" = --trial ]; then
	trial=yes
	shift
fi
if [ $# -ne 1 ]; then
	echo "usage: make-env.sh [--trial] HOST" >&2
	exit 2
fi
if [ -e .env ]; then
	echo "There is a .env already: its secrets are in use, and the passwords of PostgreSQL and Redis belong to their data." >&2
	exit 1
fi

secret() { od -An -tx1 -N32 /dev/urandom | tr -d ' \n'; }

{
	echo "# Written by make-env.sh. Readable by its owner alone; compose.yaml says which service gets what."
	echo "SITE_HOST=$1"
	for name in POSTGRES_PASSWORD REDIS_PASSWORD AUTH_TOKEN_SECRET OPERATOR_TOKEN HELIUS_WEBHOOK_SECRET; do
		echo "$name=$(secret)"
	done
	if [ -n "$trial" ]; then
		cat <<-END

			# The trial: its own chain, pins on this machine, ticks every two seconds.
			COMPOSE_FILE=compose.yaml:trial/compose.yaml
			ZMART_ENV=local
			SOLANA_RPC_URL=http://chain:8899
			SOLANA_WS_URL=ws://chain:8900
			BACKEND_KEYPAIR_PATH=/keys/backend.json
			ADMIN_KEYPAIR_PATH=/keys/admin.json
			PINATA_JWT=$(secret)
			PINATA_API_URL=http://providers:4006
			IPFS_GATEWAY_URL=http://providers:4006
			AGGREGATOR_CRON=* * * * * */2
			MONITOR_CRON=* * * * * */2
			RATE_LIMIT_READS=100000
			RATE_LIMIT_WRITES=100000
			RATE_LIMIT_NONCE=60
		END
	else
		cat <<-END

			# Fill in (README.md): the RPC, the key that signs for the backend, Pinata, and an e-mail address for certificates.
			SOLANA_RPC_URL=
			BACKEND_AUTHORITY_PRIVATE_KEY=
			PINATA_JWT=
			TLS_ISSUER=internal
		END
	fi
} > .env
echo "Wrote $(pwd)/.env"
