package io.blockwharf.core.graph;

import io.blockwharf.api.block.BitmapStore;
import io.blockwharf.api.block.DirtyBitmaps;
import io.blockwharf.api.qmp.Alternate;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.trace.TraceEvent;
import io.blockwharf.core.control.ControlLock;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;

/**
 * What the {@code block-dirty-bitmap-*} commands do, and exports ask; texts and order of the checks
 * as in QEMU's block/monitor/bitmap-qmp-cmds.c. Persistent bitmaps are loaded and stored by their
 * {@link Node}; the others end with it.
 */
@Component(service = {Bitmaps.class, DirtyBitmaps.class})
public final class Bitmaps implements DirtyBitmaps {
    private static final long DEFAULT_GRANULARITY = 64 << 10;
    private static final long SMALLEST_GRANULARITY = 512;
    private static final long LARGEST_GRANULARITY = 1L << 31;

    /** QEMU's BDRV_BITMAP_MAX_NAME_SIZE. */
    private static final int LONGEST_NAME = 1023;

    /** QAPI {@code BlockDirtyBitmapOrStr}. */
    @Alternate("BlockDirtyBitmapOrStr")
    public sealed interface Source {
        /** A bitmap of the node that the command is about. */
        record Local(String name) implements Source {}

        /** QAPI {@code BlockDirtyBitmap}. */
        record External(String node, String name) implements Source {}
    }

    private final BlockGraph graph;
    private final ControlLock lock;

    /** Those of that graph. */
    @Activate
    public Bitmaps(@Reference BlockGraph graph, @Reference ControlLock lock) {
        this.graph = graph;
        this.lock = lock;
    }

    void add(
            String nodeName,
            String name,
            Optional<Long> granularity,
            boolean persistent,
            boolean disabled) {
        if (name.isEmpty()) {
            throw QmpException.generic("Bitmap name cannot be empty");
        }
        Node node =
                graph.find(nodeName)
                        .orElseThrow(
                                () ->
                                        QmpException.generic(
                                                "Cannot find device='%s' nor node-name='%s'",
                                                nodeName, nodeName));
        long bytes = granularity.orElse(DEFAULT_GRANULARITY);
        if (bytes < SMALLEST_GRANULARITY || Long.bitCount(bytes) != 1) {
            throw QmpException.generic("Granularity must be power of 2 and at least 512");
        }
        if (node.bitmaps.containsKey(name)) {
            throw QmpException.generic("Bitmap already exists: %s", name);
        }
        if (name.getBytes(StandardCharsets.UTF_8).length > LONGEST_NAME) {
            throw QmpException.generic("Bitmap name too long: %s", name);
        }
        long granularityBytes = Math.min(bytes, LARGEST_GRANULARITY);
        Bitmap bitmap = new Bitmap(node, name, granularityBytes);
        bitmap.enable(!disabled);
        if (persistent) {
            BitmapStore store =
                    node.bitmapStore()
                            .orElseThrow(
                                    () ->
                                            QmpException.generic(
                                                    "Can't store persistent bitmaps to %s:"
                                                            + " Operation not supported",
                                                    nodeName));
            try {
                store.check(name, granularityBytes);
            } catch (QmpException e) {
                throw QmpException.generic(
                        "Can't make bitmap '%s' persistent in '%s': %s",
                        name, nodeName, e.getMessage());
            }
            bitmap.persist();
        }
        node.observe(bitmap);
        node.bitmaps.put(name, bitmap);
        TraceEvent.DIRTY_BITMAP_ADDED.record(nodeName, name);
    }

    void remove(String node, String name) {
        Bitmap bitmap = existing(node, name);
        bitmap.checkFree();
        bitmap.node().unobserve(bitmap);
        bitmap.node().bitmaps.remove(name);
        TraceEvent.DIRTY_BITMAP_REMOVED.record(node, name);
    }

    void clear(String node, String name) {
        Bitmap bitmap = existing(node, name);
        bitmap.checkChangeable();
        bitmap.clear();
    }

    void enable(String node, String name, boolean on) {
        Bitmap bitmap = existing(node, name);
        bitmap.checkChangeable();
        bitmap.enable(on);
    }

    void merge(String nodeName, String target, List<Source> sources) {
        Bitmap destination = existing(nodeName, target);
        Bitmap merged = new Bitmap(destination.node(), target, destination.granularity());
        for (Source source : sources) {
            Bitmap other =
                    switch (source) {
                        case Source.Local(String name) -> existing(nodeName, name);
                        case Source.External(String node, String name) -> existing(node, name);
                    };
            destination.checkChangeable();
            other.checkUsable();
            if (other.node().length() != destination.node().length()) {
                throw QmpException.generic(
                        "Bitmaps are of different sizes (destination size is %d, source size is %d)"
                                + " and can't be merged",
                        destination.node().length(), other.node().length());
            }
            merged.merge(other);
        }
        // Only now: a source that is not there must leave the target as it is
        destination.merge(merged);
    }

    private Bitmap existing(String nodeName, String name) {
        Bitmap bitmap = node(nodeName).bitmaps.get(name);
        if (bitmap == null) {
            throw QmpException.generic("Dirty bitmap '%s' not found", name);
        }
        return bitmap;
    }

    private Node node(String name) {
        return graph.find(name)
                .orElseThrow(() -> QmpException.generic("Node '%s' not found", name));
    }

    @Override
    public Optional<Found> find(String nodeName, String name, boolean below) {
        try (var _ = lock.take()) {
            Node node = node(nodeName);
            while (node != null) {
                Bitmap bitmap = node.bitmaps.get(name);
                if (bitmap != null) {
                    return Optional.of(bitmap);
                }
                node = below ? below(node) : null;
            }
            return Optional.empty();
        }
    }

    /** bdrv_filter_or_cow_bs: the node whose content shows through, null if there is none. */
    private static Node below(Node node) {
        return shownThrough(node).map(child -> child.node).orElse(null);
    }

    static Optional<NodeHandle> shownThrough(Node node) {
        return node.children.values().stream()
                .filter(
                        child ->
                                switch (child.role) {
                                    case FILTERED, FILLED, BACKING -> true;
                                    case DATA, STORAGE -> false;
                                })
                .findFirst();
    }
}
