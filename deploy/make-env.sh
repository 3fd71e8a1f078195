#!/bin/sh
# Write the .env of compose.yaml with new secrets: make-env.sh [--trial] [--private ADDRESS --second ADDRESS] HOST
# HOST: the name that clients use. --trial: with a Solana chain of this machine and play money (trial/compose.yaml).
# --private, --second: IPv4 addresses of this machine and of a second one in a network of theirs (two/first.yaml); the
# containers' network has no IPv6.
# Then, for the second machine: make-env.sh --for-second writes .env.second.
set -eu
umask 077
cd "$(dirname "$0")"

usage() {
	echo "usage: make-env.sh [--trial] [--private ADDRESS --second ADDRESS] HOST" >&2
	echo "       make-env.sh --for-second" >&2
	exit 2
}

require_ipv4() {
	case "$2" in *[!0-9.]*) ;; *)
		byte='(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
		echo "$2" | grep -Eqx "($byte\.){3}$byte" && return 0 ;;
	esac
	echo "\"$2\" is not an IPv4 address: $1 takes one, such as 10.0.0.1, since the containers have no IPv6." >&2
	exit 2
}

value() { sed -n "s/^$1=//p" .env; }

for_second() {
	[ -e .env ] || { echo "There is no .env here: run make-env.sh --private ... --second ... HOST first." >&2; exit 1; }
	first=$(value PRIVATE_ADDRESS)
	second=$(value SECOND_ADDRESS)
	[ -n "$first" ] && [ -n "$second" ] || { echo "The .env here is not of two machines: it was made without --private and --second." >&2; exit 1; }
	files=compose.yaml:two/second.yaml
	case "$(value COMPOSE_FILE)" in *trial*) files=$files:two/second-trial.yaml ;; esac
	{
		sed -e '/^COMPOSE_FILE=/d; /^PRIVATE_ADDRESS=/d; /^SECOND_ADDRESS=/d' \
			-e "s#//chain:#//$first:#; s#//providers:#//$first:#" .env
		cat <<-END

			# The second of two machines.
			COMPOSE_FILE=$files
			PRIVATE_ADDRESS=$second
			FIRST_ADDRESS=$first
			DATABASE_HOST=$first
			REDIS_HOST=$first
		END
	} > .env.second
	echo "Wrote $(pwd)/.env.second: copy it to the second machine as .env."
	exit 0
}

trial=
private=
second=
while [ $# -gt 1 ] || [ "${1:-}" = --for-second ]; do
	case "$1" in
		--trial) trial=yes; shift ;;
		--private) private=$2; shift 2 ;;
		--second) second=$2; shift 2 ;;
		--for-second) [ $# -eq 1 ] || usage; for_second ;;
		*) usage ;;
	esac
done
case "${1:-}" in ""|-*) usage ;; esac
case "$1" in *[!A-Za-z0-9.-]*) echo "\"$1\" is not a host name or an IPv4 address." >&2; exit 2 ;; esac
[ -n "$private$second" ] && { [ -n "$private" ] && [ -n "$second" ] || usage; }
[ -z "$private" ] || { require_ipv4 --private "$private"; require_ipv4 --second "$second"; }
if [ -e .env ]; then
	echo "There is a .env already: its secrets are in use, and the passwords of PostgreSQL and Redis belong to their data." >&2
	exit 1
fi
files=compose.yaml
[ -z "$trial" ] || files=$files:trial/compose.yaml
[ -z "$private" ] || files=$files:two/first.yaml
[ -z "$trial" ] || [ -z "$private" ] || files=$files:two/first-trial.yaml

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
	if [ "$files" != compose.yaml ]; then
		printf '\n# What of this folder runs here.\nCOMPOSE_FILE=%s\n' "$files"
	fi
	if [ -n "$private" ]; then
		printf 'PRIVATE_ADDRESS=%s\nSECOND_ADDRESS=%s\n' "$private" "$second"
	fi
} > .env
echo "Wrote $(pwd)/.env"
