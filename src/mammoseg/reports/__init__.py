"""What several reports share: tables, the HTML page, figures."""
