"""Who a message is really from: SPF, DKIM, DMARC and ARC. Pure but for DNS, which is handed in as a function."""
