"""Lightning callbacks. The optional ones are chosen in conf/callbacks; a run adds the others itself."""
