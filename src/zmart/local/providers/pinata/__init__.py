"""Stand in for Pinata as docs.pinata.cloud describes it, as far as this project uses it. Files are in ZMART_HOME/pins.

Modelled: the legacy API (API reference, "IPFS": pinFileToIPFS with pinataMetadata and pinataOptions.cidVersion,
unpin, pinList with hashContains, cid, status, pageLimit, pageOffset and includeCount, testAuthentication), v3 files
(upload with network public or private, private by default; list, get, delete by id), both kinds of credentials, and
the gateway. A file that is already pinned is answered with `isDuplicate` (v3: `is_duplicate`) and stays one pin.

Not modelled: directories, JSON uploads, groups, signed links to private files, rate limits.
"""
