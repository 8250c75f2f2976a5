"""The link: replication between a hub and its gateways over one outbound WebSocket.

``server.LinkServer`` is the hub's end, ``client.Link`` the gateway's; ``enroll`` makes them known
to each other. Nothing is loaded here: a hub needs no client, a gateway no server.
"""
