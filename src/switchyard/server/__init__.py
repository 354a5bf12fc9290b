"""What listens on the network: the receiver of webhooks and tracking calls."""
