package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockdevOptions;

/** What tests of the sibling packages do to a graph. */
public final class GraphAccess {
    private GraphAccess() {}

    public static void addDriver(BlockGraph graph, FakeDriver driver) {
        graph.addDriver(driver, FakeDriver.PROPERTIES);
    }

    public static void removeDriver(BlockGraph graph, FakeDriver driver) {
        graph.removeDriver(driver, FakeDriver.PROPERTIES);
    }

    public static void add(BlockGraph graph, BlockdevOptions options) {
        graph.add(options);
    }

    public static void remove(BlockGraph graph, String name) {
        graph.remove(name);
    }

    public static void setActive(BlockGraph graph, boolean active) {
        graph.setActive(java.util.Optional.empty(), active);
    }

    public static int users(BlockGraph graph, String name) {
        return graph.find(name).orElseThrow().users.size();
    }
}
