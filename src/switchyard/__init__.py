"""Switchyard: a connector hub for customer data whose lists are proven."""

__version__ = "0.1.0"
