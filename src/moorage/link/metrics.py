"""What Prometheus is told of the link."""

from prometheus_client import Counter, Gauge

SENT = Counter("moorage_link_frames_sent_total", "Data frames sent.", ["side", "type"])
RECEIVED = Counter("moorage_link_frames_received_total", "Frames received.", ["side", "type"])
REJECTED = Counter("moorage_link_frames_rejected_total", "Frames not applied.", ["side", "reason"])
CONNECTED = Gauge("moorage_link_connected", "Hub: live gateways. Gateway: 1 while connected.")
GATEWAYS = Gauge(
    "moorage_gateway_connected",
    "Hub: 1 for each gateway that is connected to some replica, 0 for those that are away.",
    ["gateway"],
)
ATTEMPTS = Counter("moorage_link_attempts_total", "Connections tried by the gateway.", ["outcome"])
