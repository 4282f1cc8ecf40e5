package io.blockwharf.qcow2;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.Errno;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.Locale;
import java.util.function.BiConsumer;

/**
 * Which clusters of the file hold metadata, so that nothing else is written over them: the image is
 * corrupt if an entry points there. QEMU's "metadata overlap checks". Clusters are added and
 * removed with the metadata lock held; any thread may ask, without waiting.
 *
 * <p>An open-addressing table of cluster numbers; removed ones keep their place, with kind 0.
 */
final class Overlaps {
    static final int HEADER = 1;
    static final int L1 = 2;
    static final int L2 = 4;
    static final int REFCOUNT_TABLE = 8;
    static final int REFCOUNT_BLOCK = 16;
    static final int SNAPSHOT_TABLE = 32;
    static final int INACTIVE_L1 = 64;
    static final int INACTIVE_L2 = 128;
    static final int BITMAP_DIRECTORY = 256;

    /** QEMU's templates: "none", "constant", "cached" (the default) and "all". */
    static final int CONSTANT = HEADER | L1 | REFCOUNT_TABLE | SNAPSHOT_TABLE | BITMAP_DIRECTORY;

    static final int CACHED = CONSTANT | L2 | REFCOUNT_BLOCK | INACTIVE_L1;
    static final int ALL = CACHED | INACTIVE_L2;

    private static final VarHandle WORDS = MethodHandles.arrayElementVarHandle(long[].class);
    private static final int KIND_BITS = 9;

    private final int checked;
    private final BiConsumer<String, Boolean> alarm;

    /** Each is a cluster number plus one, shifted, and its kind; 0 is empty. */
    private volatile long[] entries = new long[64];

    private int count;

    /**
     * An empty set.
     *
     * @param checked the kinds that are looked for
     * @param alarm is told of corruption: what, and whether the image cannot be used any more
     */
    Overlaps(int checked, BiConsumer<String, Boolean> alarm) {
        this.checked = checked;
        this.alarm = alarm;
    }

    /** The image contradicts itself: it is marked corrupt, and all requests fail from now on. */
    BlockIoException corrupt(String format, Object... arguments) {
        String message = String.format(Locale.ROOT, format, arguments);
        alarm.accept(message, true);
        return new BlockIoException(Errno.EIO, message);
    }

    /** The same where the image can still be used: only this request fails. */
    BlockIoException harmless(String format, Object... arguments) {
        String message = String.format(Locale.ROOT, format, arguments);
        alarm.accept(message, false);
        return new BlockIoException(Errno.EIO, message);
    }

    private static int slot(long cluster, int size) {
        return (int) (cluster * 0x9e3779b97f4a7c15L >>> 32) & size - 1;
    }

    /** Holds metadata of that kind from now on. */
    void add(long cluster, int kind) {
        put(cluster, kind, true);
    }

    void remove(long cluster, int kind) {
        put(cluster, kind, false);
    }

    private void put(long cluster, int kind, boolean there) {
        if (2 * count >= entries.length) {
            long[] old = entries;
            long[] larger = new long[2 * old.length];
            count = 0;
            for (long entry : old) {
                if ((entry & (1 << KIND_BITS) - 1) != 0) {
                    place(larger, entry);
                }
            }
            entries = larger;
        }
        long[] now = entries;
        int at = find(now, cluster);
        long before = now[at];
        if (before == 0) {
            if (!there) {
                return;
            }
            count++;
        }
        long kinds = before & (1 << KIND_BITS) - 1;
        kinds = there ? kinds | kind : kinds & ~kind;
        WORDS.setRelease(now, at, cluster + 1 << KIND_BITS | kinds);
    }

    private void place(long[] target, long entry) {
        target[find(target, (entry >>> KIND_BITS) - 1)] = entry;
        count++;
    }

    private static int find(long[] table, long cluster) {
        int at = slot(cluster, table.length);
        while (true) {
            long entry = (long) WORDS.getAcquire(table, at);
            if (entry == 0 || entry >>> KIND_BITS == cluster + 1) {
                return at;
            }
            at = at + 1 & table.length - 1;
        }
    }

    /** The kinds of metadata in a cluster that are looked for, as bits. */
    int kinds(long cluster) {
        long[] now = entries;
        return (int) (long) WORDS.getAcquire(now, find(now, cluster)) & checked;
    }

    /**
     * Refuses to write over metadata.
     *
     * @param own the kind of metadata that is written, 0 for data
     */
    void check(long cluster, int own, long offset, long bytes) throws BlockIoException {
        int kinds = kinds(cluster) & ~own;
        if (kinds != 0) {
            throw corrupt(
                    "Preventing invalid write on metadata (overlaps with %s); image marked as"
                            + " corrupt. [offset %#x, %d bytes]",
                    name(kinds), offset, bytes);
        }
    }

    private static String name(int kinds) {
        return switch (Integer.lowestOneBit(kinds)) {
            case HEADER -> "qcow2_header";
            case L1 -> "active L1 table";
            case L2 -> "active L2 table";
            case REFCOUNT_TABLE -> "refcount table";
            case REFCOUNT_BLOCK -> "refcount block";
            case SNAPSHOT_TABLE -> "snapshot table";
            case INACTIVE_L1 -> "inactive L1 table";
            case INACTIVE_L2 -> "inactive L2 table";
            default -> "bitmap directory";
        };
    }
}
