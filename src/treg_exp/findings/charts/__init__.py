"""The figures of a report, drawn once with Altair: interactive in the page, PNG and PDF for papers and talks."""
