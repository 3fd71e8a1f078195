"""Helius as www.helius.dev/docs describes its webhooks, as far as this project uses them.

Modelled: the management API (API reference, "Webhooks": create, get, get all, update, toggle, delete at /v0/webhooks
with `?api-key=`), raw and enhanced payloads (docs, "Webhooks"), and delivery (docs, "Webhooks FAQ"): as soon as a
transaction is confirmed, at least once, in no order, with the registered authHeader as Authorization; an answer that
is not 200-299 within a second is tried again up to three times (not after 403), then the transaction is lost to the
webhook. The FAQ has named one minute and one second between the tries; here it is `retry_gap_s`, one second. A webhook
whose endpoint fails too often is switched off (`active: false`) until PATCH {"active": true} switches it on; 24 hours
of grace follow. Helius does not say what too often is; here it is `disable_after` posts in a row.
`encoding` is kept and shown; every delivery is JSON.
Not modelled: filters by transaction type, Helius' parsing in enhanced payloads, Discord, credits.
"""
