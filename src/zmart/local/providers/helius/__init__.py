"""Stand in for Helius' webhooks as www.helius.dev/docs describes them, as far as this project uses them.

Modelled are the management API (API reference, "Webhooks": create, get, get all, update, toggle, delete at /v0/webhooks
with `?api-key=`), raw and enhanced payloads (docs, "Webhooks"), and delivery (docs, "Webhooks FAQ"):

- A transaction is posted as soon as it is confirmed, with the registered authHeader as Authorization. Transactions come
  in no order. A post without a response 200-299 within a second is repeated up to three times, except after 403; then
  its transactions are lost to the webhook.
- The FAQ has named both one minute and one second between the attempts; here it is `retry_gap_s`, one second.
- A webhook whose endpoint fails too often is disabled (`active: false`) until PATCH {"active": true} enables it. In the
  24 hours after that it is not disabled again. Helius does not define "too often"; here it is `disable_after` lost
  posts in a row.
- `encoding` is stored and returned; every delivery is JSON.

Not modelled: filters by transaction type, Helius' parsing in enhanced payloads, Discord, credits.
"""
