"""The operator's pages: what a magic link opens in a browser."""
