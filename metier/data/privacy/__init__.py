"""Personal data: found, counted, masked or replaced; takes texts, gives texts and spans, never writes one to a log."""
