package io.blockwharf.qcow2;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.ImageDescription;
import io.blockwharf.api.qmp.QmpException;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * An internal snapshot, spec "Snapshots".
 *
 * @param id unique among the image's
 * @param name for people
 * @param l1Offset where its L1 table lies
 * @param l1Entries of that table
 * @param seconds when it was taken, since the epoch
 * @param nanos the same below the second
 * @param vmClockNanos how long the guest had been running
 * @param vmStateBytes of the guest's state behind the disk
 * @param size of the disk, bytes
 * @param instructions that the guest had executed, if they were counted
 */
record Snapshot(
        String id,
        String name,
        long l1Offset,
        int l1Entries,
        long seconds,
        int nanos,
        long vmClockNanos,
        long vmStateBytes,
        long size,
        Optional<Long> instructions) {
    private static final int FIXED = 40;
    private static final int MOST_EXTRA = 1024;

    /** QEMU's QCOW_MAX_SNAPSHOTS_SIZE. */
    private static final long MOST_BYTES = 64 << 20;

    /**
     * The snapshots of an image, oldest first.
     *
     * @throws QmpException if their table cannot be understood
     */
    static List<Snapshot> of(Header header, ImageFile file) {
        List<Snapshot> all = new ArrayList<>();
        read(header, file, all);
        return all;
    }

    /** As QMP tells it. */
    ImageDescription.SnapshotInfo info() {
        return new ImageDescription.SnapshotInfo(
                id,
                name,
                vmStateBytes,
                seconds,
                nanos,
                vmClockNanos / 1_000_000_000,
                vmClockNanos % 1_000_000_000,
                instructions);
    }

    /** How long their table is. */
    static long tableBytes(Header header, ImageFile file) {
        return read(header, file, new ArrayList<>());
    }

    private static long read(Header header, ImageFile file, List<Snapshot> all) {
        long at = header.snapshotsOffset;
        try {
            for (int i = 0; i < header.snapshotCount; i++) {
                if (at - header.snapshotsOffset > MOST_BYTES || at >= file.length()) {
                    throw QmpException.generic("Snapshot table is too large");
                }
                ByteBuffer fixed = file.read(at, FIXED);
                int idBytes = fixed.getShort(12) & 0xffff;
                int nameBytes = fixed.getShort(14) & 0xffff;
                int extraBytes = fixed.getInt(36);
                if (extraBytes < 0 || extraBytes > MOST_EXTRA) {
                    throw QmpException.generic(
                            "Too much extra metadata in snapshot table entry %d", i);
                }
                ByteBuffer rest = file.read(at + FIXED, extraBytes + idBytes + nameBytes);
                Snapshot snapshot =
                        new Snapshot(
                                text(rest, extraBytes, idBytes),
                                text(rest, extraBytes + idBytes, nameBytes),
                                fixed.getLong(0),
                                fixed.getInt(8),
                                Integer.toUnsignedLong(fixed.getInt(16)),
                                fixed.getInt(20),
                                fixed.getLong(24),
                                extraBytes >= 8
                                        ? rest.getLong(0)
                                        : Integer.toUnsignedLong(fixed.getInt(32)),
                                extraBytes >= 16 ? rest.getLong(8) : header.size,
                                extraBytes >= 24 && rest.getLong(16) != -1
                                        ? Optional.of(rest.getLong(16))
                                        : Optional.empty());
                snapshot.check(header);
                all.add(snapshot);
                at += FIXED + extraBytes + idBytes + nameBytes + 7 & -8;
            }
        } catch (BlockIoException e) {
            throw new QmpException("Could not read snapshots: " + e.getMessage(), e);
        }
        return at - header.snapshotsOffset;
    }

    private static String text(ByteBuffer buffer, int from, int bytes) {
        byte[] text = new byte[bytes];
        buffer.get(from, text);
        return new String(text, StandardCharsets.UTF_8);
    }

    private void check(Header header) {
        boolean placed = l1Offset >= 0 && (l1Offset & header.clusterSize - 1) == 0;
        if (!placed || l1Entries < 0 || 8L * l1Entries > Header.L1_BYTES || size < 0) {
            throw QmpException.generic("Snapshot L1 table of '%s' is invalid", id);
        }
    }
}
