"""Installs the steered HTTP layer wherever mitmproxy would use its own.

It asks the stock `NextLayer` addon first, so modes, ignored hosts and protocol detection stay as
they are, and then exchanges each plain `HttpLayer`, also one nested below TLS layers.
"""

from __future__ import annotations

from mitmproxy import ctx
from mitmproxy.addons.next_layer import NextLayer
from mitmproxy.proxy import layer
from mitmproxy.proxy.layers.http import HttpLayer

from llmitm.mitm.stream import SteeredLayer, Streams, connection_handler, raise_limits


class LayerSwap:
    """The addon; works before or after the stock addons.

    connections_per_address: how many connections one client connection may have to one address.
    """

    def __init__(self, streams: Streams, connections_per_address: int = 64) -> None:
        self.streams = streams
        self.connections_per_address = connections_per_address

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """The stock decision, with our layer in place of a plain HttpLayer."""
        stock = ctx.master.addons.get("nextlayer")
        if isinstance(stock, NextLayer):
            stock.next_layer(nextlayer)
        if nextlayer.layer is None:
            return
        nextlayer.layer = self.swap(nextlayer.layer)

    def swap(self, top: layer.Layer) -> layer.Layer:
        """`top`, or what takes its place, with everything below it looked through."""
        if type(top) is HttpLayer:
            handler = connection_handler(top.context.client)
            if handler is not None:
                raise_limits(handler, self.connections_per_address)
            return self.replace(top)
        child = getattr(top, "child_layer", None)
        if isinstance(child, layer.Layer) and not isinstance(child, layer.NextLayer):
            vars(top)["child_layer"] = self.swap(child)
        return top

    def replace(self, stock: HttpLayer) -> SteeredLayer:
        """Ours, at the same place in the stack of layers."""
        layers = stock.context.layers
        place = layers.index(stock)
        ours = SteeredLayer(stock.context, stock.mode, self.streams)
        layers.remove(ours)
        layers[place] = ours
        return ours
