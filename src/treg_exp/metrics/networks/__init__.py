"""Networks that metrics use: the LPIPS distance and the judge of captions."""
