"""From a page of records to one commit: map, check, resolve, append, move the cursor."""
