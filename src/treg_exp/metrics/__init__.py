"""Per-image metrics. To add one: a class like those here and an entry in ``conf/metrics``."""
