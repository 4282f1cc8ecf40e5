package io.blockwharf.qcow2;

import io.blockwharf.api.qmp.QmpException;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.StringJoiner;

/**
 * The header of an image with its extensions, spec "Header" and "Header extensions". What is
 * derived from it and never changes are final fields; the others are guarded by the image's
 * metadata lock.
 */
final class Header {
    static final int MAGIC = 0x514649fb;

    /** Incompatible feature bits. */
    static final long DIRTY = 1;

    static final long CORRUPT = 1 << 1;
    static final long DATA_FILE = 1 << 2;
    static final long COMPRESSION = 1 << 3;
    static final long EXTENDED_L2 = 1 << 4;
    private static final long KNOWN = DIRTY | CORRUPT | DATA_FILE | COMPRESSION | EXTENDED_L2;

    /** Compatible feature bit. */
    static final long LAZY_REFCOUNTS = 1;

    /** Autoclear feature bits. */
    static final long BITMAPS = 1;

    static final long DATA_FILE_RAW = 1 << 1;

    private static final int BACKING_FORMAT = 0xe2792aca;
    private static final int FEATURE_NAMES = 0x6803f857;
    private static final int BITMAPS_EXTENSION = 0x23852875;
    private static final int DATA_FILE_NAME = 0x44415441;

    static final int V2_LENGTH = 72;
    static final int V3_LENGTH = 112;
    private static final int V3_SHORTEST = 104;

    /** Bytes. */
    static final int LONGEST_BACKING_NAME = 1023;

    /** QEMU's limits of what is kept in memory: QCOW_MAX_L1_SIZE and QCOW_MAX_REFTABLE_SIZE. */
    static final long L1_BYTES = 32 << 20;

    static final long REFTABLE_BYTES = 8 << 20;
    static final int MOST_SNAPSHOTS = 65536;

    /** Where the bitmap directory lies, spec "Bitmaps extension". */
    record BitmapsPlace(int count, long offset, long bytes) {}

    final int version;
    final int clusterBits;
    final int clusterSize;
    final boolean extendedL2;
    final boolean zstd;
    final int refcountBits;
    final Optional<String> dataFileName;

    /** Entries of an L2 table, as a power of two. */
    final int tableBits;

    /** The smallest unit that is allocated to the guest, as a power of two. */
    final int unitBits;

    long size;
    int l1Entries;
    long l1Offset;
    long reftableOffset;
    int reftableClusters;
    int snapshotCount;
    long snapshotsOffset;
    long incompatible;
    long compatible;
    long autoclear;
    Optional<BitmapsPlace> bitmaps = Optional.empty();
    Optional<String> backingName;
    Optional<String> backingFormat;

    /** Fields behind the ones that are known. */
    private byte[] moreFields = new byte[0];

    /** Extensions that are kept as they are. */
    private final Map<Integer, byte[]> extensions = new LinkedHashMap<>();

    /** What a new image has. */
    record Fresh(
            int version,
            int clusterBits,
            long size,
            boolean extendedL2,
            boolean zstd,
            int refcountBits,
            Optional<String> backingName,
            Optional<String> backingFormat,
            Optional<String> dataFileName) {}

    Header(Fresh fresh) {
        version = fresh.version();
        clusterBits = fresh.clusterBits();
        clusterSize = 1 << clusterBits;
        size = fresh.size();
        extendedL2 = fresh.extendedL2();
        zstd = fresh.zstd();
        refcountBits = fresh.refcountBits();
        backingName = fresh.backingName();
        backingFormat = fresh.backingFormat();
        dataFileName = fresh.dataFileName();
        tableBits = clusterBits - (extendedL2 ? 4 : 3);
        unitBits = clusterBits - (extendedL2 ? 5 : 0);
        incompatible =
                (extendedL2 ? EXTENDED_L2 : 0)
                        | (zstd ? COMPRESSION : 0)
                        | (dataFileName.isPresent() ? DATA_FILE : 0);
        extensions.put(FEATURE_NAMES, featureNames());
    }

    // --- Reading -----------------------------------------------------------------------------

    /** Whether these are the first bytes of an image of a version that is known here. */
    static boolean begins(ByteBuffer head) {
        return head.remaining() >= V2_LENGTH
                && head.getInt(head.position()) == MAGIC
                && head.getInt(head.position() + 4) >= 2;
    }

    /**
     * The cluster size as a power of two, from the first {@value #V2_LENGTH} bytes.
     *
     * @throws QmpException if it is none, or this is no image
     */
    static int clusterBits(ByteBuffer head) {
        if (head.limit() < V2_LENGTH) {
            throw QmpException.generic("Could not read qcow2 header");
        }
        if (head.getInt(0) != MAGIC) {
            throw QmpException.generic("Image is not in qcow2 format");
        }
        int version = head.getInt(4);
        if (version < 2 || version > 3) {
            throw QmpException.generic(
                    "Unsupported qcow2 version %d", Integer.toUnsignedLong(version));
        }
        int bits = head.getInt(20);
        if (bits < 9 || bits > 21) {
            throw QmpException.generic(
                    "Unsupported cluster size: 2^%d", Integer.toUnsignedLong(bits));
        }
        return bits;
    }

    /**
     * Reads a header.
     *
     * @param first the first cluster, or less if the file is shorter
     * @throws QmpException if the image cannot be used
     */
    Header(ByteBuffer first) {
        clusterBits = clusterBits(first);
        clusterSize = 1 << clusterBits;
        version = first.getInt(4);
        int length = V2_LENGTH;
        int order = 4;
        int compression = 0;
        if (version >= 3) {
            if (first.limit() < V3_SHORTEST) {
                throw QmpException.generic("qcow2 header too short");
            }
            incompatible = first.getLong(72);
            compatible = first.getLong(80);
            autoclear = first.getLong(88);
            order = first.getInt(96);
            length = first.getInt(100);
            if (length < V3_SHORTEST) {
                throw QmpException.generic("qcow2 header too short");
            }
            if (length > clusterSize || length > first.limit()) {
                throw QmpException.generic("qcow2 header exceeds cluster size");
            }
            if (length > V3_SHORTEST) {
                compression = first.get(V3_SHORTEST) & 0xff;
            }
            if (length > V3_LENGTH) {
                moreFields = new byte[length - V3_LENGTH];
                first.get(V3_LENGTH, moreFields);
            }
        }
        size = first.getLong(24);
        l1Entries = first.getInt(36);
        l1Offset = first.getLong(40);
        reftableOffset = first.getLong(48);
        reftableClusters = first.getInt(56);
        snapshotCount = first.getInt(60);
        snapshotsOffset = first.getLong(64);

        long backingOffset = first.getLong(8);
        int end = first.limit();
        if (backingOffset != 0) {
            if (backingOffset < length || backingOffset > end) {
                throw QmpException.generic("Invalid backing file offset");
            }
            end = (int) backingOffset;
        }
        readExtensions(first, length, end);
        if ((incompatible & ~KNOWN) != 0) {
            throw QmpException.generic("Unsupported qcow2 feature(s): %s", unknownFeatures());
        }
        extendedL2 = (incompatible & EXTENDED_L2) != 0;
        zstd = compressionIsZstd(compression);
        tableBits = clusterBits - (extendedL2 ? 4 : 3);
        unitBits = clusterBits - (extendedL2 ? 5 : 0);
        refcountBits = refcountBits(order);
        checkCrypt(first.getInt(32));
        backingName = backingName(first, backingOffset, first.getInt(16));
        backingFormat = string(BACKING_FORMAT);
        dataFileName = string(DATA_FILE_NAME);
        bitmaps = bitmapsPlace();
        if (extendedL2 && clusterBits < 14) {
            throw QmpException.generic("Unsupported cluster size: 2^%d", clusterBits);
        }
        if ((autoclear & DATA_FILE_RAW) != 0 && !hasDataFile()) {
            autoclear &= ~DATA_FILE_RAW; // meaningless without, so treated as unknown
        }
        checkPlaces();
    }

    private void readExtensions(ByteBuffer first, int from, int end) {
        int at = from;
        while (at <= end - 8) {
            int type = first.getInt(at);
            int bytes = first.getInt(at + 4);
            if (type == 0) {
                return;
            }
            if (bytes < 0 || bytes > end - at - 8) {
                throw QmpException.generic("Header extension too large");
            }
            byte[] data = new byte[bytes];
            first.get(at + 8, data);
            extensions.put(type, data);
            at += 8 + (bytes + 7 & -8);
        }
    }

    private String unknownFeatures() {
        StringJoiner names = new StringJoiner(", ");
        byte[] table = extensions.getOrDefault(FEATURE_NAMES, new byte[0]);
        long unknown = incompatible & ~KNOWN;
        for (int i = 0; i + 48 <= table.length; i += 48) {
            if (table[i] == 0
                    && table[i + 1] >= 0
                    && table[i + 1] < 64
                    && (unknown >>> table[i + 1] & 1) != 0) {
                String name = new String(table, i + 2, 46, StandardCharsets.UTF_8);
                int end = name.indexOf('\0');
                names.add(end < 0 ? name : name.substring(0, end));
                unknown &= ~(1L << table[i + 1]);
            }
        }
        if (unknown != 0) {
            names.add("Unknown incompatible feature: %x".formatted(unknown));
        }
        return names.toString();
    }

    private boolean compressionIsZstd(int type) {
        boolean flagged = (incompatible & COMPRESSION) != 0;
        if (flagged && type == 0) {
            throw QmpException.generic(
                    "qcow2: Compression type incompatible feature bit must not be set");
        }
        if (!flagged && type != 0) {
            throw QmpException.generic(
                    "qcow2: Compression type incompatible feature bit must be set");
        }
        if (type > 1) {
            throw QmpException.generic("qcow2: unknown compression type: %d", type);
        }
        return type == 1;
    }

    private static int refcountBits(int order) {
        if (order < 0 || order > 6) {
            throw QmpException.generic(
                    "Reference count entry width too large; may not exceed 64 bits");
        }
        return 1 << order;
    }

    private static void checkCrypt(int method) {
        switch (method) {
            case 0 -> {}
            case 1 ->
                    throw QmpException.generic(
                            "Use of AES-CBC encrypted qcow2 images is not supported");
            case 2 ->
                    throw QmpException.generic(
                            "Use of LUKS encrypted qcow2 images is not supported");
            default ->
                    throw QmpException.generic(
                            "Unsupported encryption method %d", Integer.toUnsignedLong(method));
        }
    }

    private Optional<String> backingName(ByteBuffer first, long offset, int length) {
        if (offset == 0) {
            return Optional.empty();
        }
        if (length < 0 || length > Math.min(LONGEST_BACKING_NAME, clusterSize - offset)) {
            throw QmpException.generic("Backing file name too long");
        }
        if (offset + length > first.limit()) {
            throw QmpException.generic("Could not read backing file name");
        }
        byte[] name = new byte[length];
        first.get((int) offset, name);
        return Optional.of(new String(name, StandardCharsets.UTF_8));
    }

    private Optional<String> string(int type) {
        return Optional.ofNullable(extensions.remove(type))
                .map(data -> new String(data, StandardCharsets.UTF_8));
    }

    private Optional<BitmapsPlace> bitmapsPlace() {
        byte[] data = extensions.remove(BITMAPS_EXTENSION);
        if (data == null || (autoclear & BITMAPS) == 0) {
            autoclear &= ~BITMAPS; // "must be considered inconsistent": as if there were none
            return Optional.empty();
        }
        if (data.length != 24) {
            throw QmpException.generic("bitmaps_ext: Invalid extension length");
        }
        ByteBuffer extension = ByteBuffer.wrap(data);
        BitmapsPlace place =
                new BitmapsPlace(extension.getInt(0), extension.getLong(16), extension.getLong(8));
        if (extension.getInt(4) != 0) {
            throw QmpException.generic("bitmaps_ext: Reserved field is not zero");
        }
        if (place.count <= 0 || place.count > StoredBitmaps.MOST) {
            throw QmpException.generic(
                    "bitmaps_ext: image has %d bitmaps, exceeding the QEMU supported maximum of %d",
                    Integer.toUnsignedLong(place.count), StoredBitmaps.MOST);
        }
        if (place.offset <= 0 || (place.offset & clusterSize - 1) != 0) {
            throw QmpException.generic("bitmaps_ext: invalid bitmap directory offset");
        }
        if (place.bytes <= 0 || place.bytes > StoredBitmaps.DIRECTORY_BYTES) {
            throw QmpException.generic(
                    "bitmaps_ext: bitmap directory size (%d) exceeds the maximum supported size"
                            + " (%d)",
                    place.bytes, StoredBitmaps.DIRECTORY_BYTES);
        }
        return Optional.of(place);
    }

    private void checkPlaces() {
        if (reftableClusters == 0) {
            throw QmpException.generic("Image does not contain a reference count table");
        }
        check(
                "Reference count table",
                reftableOffset,
                Integer.toUnsignedLong(reftableClusters) << clusterBits,
                REFTABLE_BYTES);
        if (Integer.compareUnsigned(snapshotCount, MOST_SNAPSHOTS) > 0) {
            throw QmpException.generic("Snapshot table too large");
        }
        check("Snapshot table", snapshotsOffset, 0, 0);
        check("Active L1 table", l1Offset, 8L * Integer.toUnsignedLong(l1Entries), L1_BYTES);
        if (size < 0 || neededL1Entries(size) > Integer.MAX_VALUE) {
            throw QmpException.generic("Image is too big");
        }
        if (l1Entries < neededL1Entries(size)) {
            throw QmpException.generic("L1 table is too small");
        }
    }

    private void check(String name, long offset, long bytes, long most) {
        if (bytes > most) {
            throw QmpException.generic("%s too large", name);
        }
        if (offset < 0 || offset > Long.MAX_VALUE - bytes || (offset & clusterSize - 1) != 0) {
            throw QmpException.generic("%s offset invalid", name);
        }
    }

    /** How many L1 entries a disk of that size has. */
    long neededL1Entries(long bytes) {
        int shift = clusterBits + tableBits;
        return (bytes >>> shift) + ((bytes & (1L << shift) - 1) == 0 ? 0 : 1);
    }

    boolean hasDataFile() {
        return (incompatible & DATA_FILE) != 0;
    }

    boolean dataFileRaw() {
        return (autoclear & DATA_FILE_RAW) != 0;
    }

    // --- Writing -----------------------------------------------------------------------------

    /**
     * The header area as it is to be written: header, extensions and backing file name.
     *
     * @throws QmpException if it does not fit into a cluster
     */
    byte[] encode() {
        int length = version == 2 ? V2_LENGTH : V3_LENGTH + moreFields.length;
        List<Map.Entry<Integer, byte[]>> all = new ArrayList<>();
        backingFormat.ifPresent(s -> all.add(Map.entry(BACKING_FORMAT, utf8(s))));
        dataFileName
                .filter(_ -> hasDataFile())
                .ifPresent(s -> all.add(Map.entry(DATA_FILE_NAME, utf8(s))));
        bitmaps.ifPresent(
                place ->
                        all.add(
                                Map.entry(
                                        BITMAPS_EXTENSION,
                                        ByteBuffer.allocate(24)
                                                .putInt(place.count)
                                                .putInt(0)
                                                .putLong(place.bytes)
                                                .putLong(place.offset)
                                                .array())));
        all.addAll(extensions.entrySet());
        byte[] name = utf8(backingName.orElse(""));
        int bytes = length + 8 + name.length + bytes(all);
        if (bytes > clusterSize) { // the names of features help people only
            all.removeIf(extension -> extension.getKey() == FEATURE_NAMES);
            bytes = length + 8 + name.length + bytes(all);
        }
        if (bytes > clusterSize) {
            throw QmpException.generic("The header does not fit into a cluster");
        }
        ByteBuffer out = ByteBuffer.allocate(bytes);
        out.putInt(MAGIC).putInt(version).putLong(name.length == 0 ? 0 : bytes - name.length);
        out.putInt(name.length).putInt(clusterBits).putLong(size).putInt(0).putInt(l1Entries);
        out.putLong(l1Offset).putLong(reftableOffset).putInt(reftableClusters);
        out.putInt(snapshotCount).putLong(snapshotsOffset);
        if (version >= 3) {
            out.putLong(incompatible).putLong(compatible).putLong(autoclear);
            out.putInt(Integer.numberOfTrailingZeros(refcountBits)).putInt(length);
            out.put((byte) (zstd ? 1 : 0)).position(V3_LENGTH).put(moreFields);
        }
        for (var extension : all) {
            byte[] data = extension.getValue();
            out.putInt(extension.getKey()).putInt(data.length).put(data);
            out.position(out.position() + (-data.length & 7));
        }
        out.putLong(0); // "End of the header extension area"
        out.put(name);
        return out.array();
    }

    private static int bytes(List<Map.Entry<Integer, byte[]>> extensions) {
        return extensions.stream().mapToInt(e -> 8 + (e.getValue().length + 7 & -8)).sum();
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Spec "Feature name table". */
    private static byte[] featureNames() {
        Object[][] names = {
            {0, 0, "dirty bit"},
            {0, 1, "corrupt bit"},
            {0, 2, "external data file"},
            {0, 3, "compression type"},
            {0, 4, "extended L2 entries"},
            {1, 0, "lazy refcounts"},
            {2, 0, "bitmaps"},
            {2, 1, "raw external data"}
        };
        ByteBuffer table = ByteBuffer.allocate(48 * names.length);
        for (int i = 0; i < names.length; i++) {
            table.position(48 * i);
            table.put((byte) (int) names[i][0]).put((byte) (int) names[i][1]);
            table.put(utf8((String) names[i][2]));
        }
        return table.array();
    }
}
