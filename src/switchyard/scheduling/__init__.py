"""When what is done: `app` says what."""
