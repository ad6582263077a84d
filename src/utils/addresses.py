"""Which addresses nobody can connect to."""

from ipaddress import ip_address, ip_network

_THIS_NETWORK = ip_network("0.0.0.0/8")


def why_unreachable(address: str, *, from_elsewhere: bool) -> str:
    """What kind of address `address`, an IP address, is, if nobody can connect to it; from_elsewhere: nobody on another
    host. Empty when it can be connected to.
    """
    ip = ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_unspecified or (ip.version == 4 and ip in _THIS_NETWORK):
        return "the address of no host: a server listens there on all of its addresses, but nobody can connect to it"
    if ip.is_multicast or (ip.version == 4 and ip.is_reserved):
        return "the address of many hosts or none, to which nobody can connect"
    if from_elsewhere and ip.is_loopback:
        return "every host's own, by which the other hosts find themselves"
    return ""
