"""Who is who: identifiers in one spelling, subjects joined into profiles."""
