"""Stand in for Helius' webhooks as www.helius.dev/docs describes them, as far as this project uses them.

Modelled: the management API (API reference, "Webhooks": create, get, get all, update, toggle, delete at /v0/webhooks
with `?api-key=`), raw and enhanced payloads (docs, "Webhooks"), and delivery (docs, "Webhooks FAQ"): as soon as a
transaction is confirmed, at least once, in no order, with the registered authHeader as Authorization; a response that
is not 200-299 within a second is retried up to three times (not after 403), then the transaction is lost to the
webhook. The FAQ has named one minute and one second between the attempts; here it is `retry_gap_s`, one second. A
webhook whose endpoint fails too often is disabled (`active: false`) until PATCH {"active": true} enables it; 24 hours
of grace follow. Helius does not define "too often"; here it is `disable_after` posts in a row. `encoding` is stored
and returned; every delivery is JSON.

Not modelled: filters by transaction type, Helius' parsing in enhanced payloads, Discord, credits.
"""
