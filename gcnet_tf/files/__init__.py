"""Files on the disk and from the network: whole writes, checksums, downloads."""
