// The six services under PM2, by the names of the deployment plan:
//   pm2 start deploy/pm2/ecosystem.config.cjs && pm2 save
// Settings come from `.env` in the folder where PM2 is started, or from its environment. ZMART_BIN names the command where
// it is not that of this checkout. The schema must be there: zmart migrate up. PM2 rotates no logs: install pm2-logrotate
// (docs/operations.md).
const path = require("node:path");

const SERVICES = {
  "event-indexer": "indexer",
  "vote-aggregator": "aggregator",
  "market-monitor": "monitor",
  "api-gateway": "gateway",
  "websocket-server": "websocket",
  "ipfs-service": "snapshots",
};
const zmart = process.env.ZMART_BIN || path.join(__dirname, "..", "..", ".venv", "bin", "zmart");

module.exports = {
  apps: Object.entries(SERVICES).map(([name, service]) => ({
    name,
    script: zmart,
    args: ["run", service],
    interpreter: "none",
    exec_mode: "fork",
    cwd: process.cwd(),
    // No cron_restart: schedules are the services' own, and a restart in the middle of a tick is a fault.
    autorestart: true,
    // Without limit: what a service waits for may take any time to come back.
    restart_delay: 2000,
    max_restarts: Number.MAX_SAFE_INTEGER,
    // SIGTERM, then this long to finish what was begun.
    kill_timeout: 15000,
    merge_logs: true,
  })),
};
