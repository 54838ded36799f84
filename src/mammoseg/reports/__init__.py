"""Building blocks of all reports: tables, the HTML page, figures."""
