"""Building blocks of reports: tables, figures and HTML pages."""
