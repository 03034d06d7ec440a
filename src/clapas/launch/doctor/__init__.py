"""`clapas doctor`: what would make a run fail or crawl, told beforehand. One kind of check a file; no torch."""
