package io.blockwharf.qcow2;

import io.blockwharf.api.block.BlockCreator;
import io.blockwharf.api.block.BlockDriverName;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.NodeSpec;
import io.blockwharf.api.block.OpenFlags;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.qcow2.Qcow2CreateOptions.CompressionType;
import io.blockwharf.qcow2.Qcow2CreateOptions.PreallocMode;
import io.blockwharf.qcow2.Qcow2CreateOptions.Version;

import org.osgi.service.component.annotations.Component;

import java.nio.ByteBuffer;
import java.util.Map;
import java.util.Optional;

/**
 * Makes images: {@code blockdev-create} with driver {@code qcow2}. An image of no size is written
 * by hand, opened, and grown. Texts: block/qcow2.c, {@code qcow2_co_create}.
 */
@Component(service = BlockCreator.class)
@BlockDriverName("qcow2")
public final class Qcow2Creator implements BlockCreator<Qcow2CreateOptions> {
    private static final int SMALLEST = 512;
    private static final int LARGEST = 2 << 20;
    private static final int SMALLEST_EXTENDED = 16 << 10;

    @Override
    public void create(Qcow2CreateOptions options, Map<String, BlockNode> nodes)
            throws BlockIoException {
        PreallocMode mode = options.preallocation().orElse(PreallocMode.OFF);
        Header header = header(options, nodes, mode);
        BlockNode file = nodes.get("file");
        writeEmpty(header, file);
        Qcow2Image image =
                new Qcow2Image(
                        new NodeSpec<>(
                                "create",
                                Qcow2Options.plain(options.file(), options.dataFile()),
                                new OpenFlags(false, false, false, false, false, false),
                                nodes),
                        Failing.LISTENER);
        try {
            image.resize(options.size());
            if (mode != PreallocMode.OFF || header.dataFileRaw()) {
                image.preallocate(mode == PreallocMode.FALLOC || mode == PreallocMode.FULL);
            }
            if (header.hasDataFile()) {
                BlockNode data = nodes.get("data-file");
                if (data.length() < options.size()) {
                    data.resize(options.size());
                }
            }
            image.flush();
        } finally {
            image.close();
        }
        file.flush();
    }

    /** Problems of an image that is just being made end its making. */
    private static final class Failing implements Qcow2Image.Listener {
        static final Failing LISTENER = new Failing();

        @Override
        public void corrupted(String node, String message, boolean fatal) {
            throw QmpException.generic("The new image is corrupt: %s", message);
        }

        @Override
        public void closedBadly(String node, BlockIoException why) {
            throw new QmpException("Could not write the image: " + why.getMessage(), why);
        }
    }

    private static Header header(
            Qcow2CreateOptions options, Map<String, BlockNode> nodes, PreallocMode mode) {
        int version = options.version().orElse(Version.V3) == Version.V2 ? 2 : 3;
        long cluster = options.clusterSize().orElse(64L << 10);
        boolean extended = options.extendedL2().orElse(false);
        boolean lazy = options.lazyRefcounts().orElse(false);
        boolean zstd =
                options.compressionType().orElse(CompressionType.ZLIB) == CompressionType.ZSTD;
        boolean raw = options.dataFileRaw().orElse(false);
        long refcountBits = options.refcountBits().orElse(16L);
        require(
                options.size() % SMALLEST == 0,
                "Image size must be a multiple of " + SMALLEST + " bytes");
        require(
                Long.bitCount(cluster) == 1 && cluster >= SMALLEST && cluster <= LARGEST,
                "Cluster size must be a power of two between 512 and 2048k");
        require(
                !extended || version >= 3,
                "Extended L2 entries are only supported with compatibility level 1.1 and above (use"
                        + " version=v3 or greater)");
        require(
                !extended || cluster >= SMALLEST_EXTENDED,
                "Extended L2 entries are only supported with cluster sizes of at least "
                        + SMALLEST_EXTENDED
                        + " bytes");
        require(
                mode == PreallocMode.OFF || options.backingFile().isEmpty() || extended,
                "Backing file and preallocation can only be used at the same time if extended_l2 is"
                        + " enabled");
        require(
                options.backingFmt().isEmpty() || options.backingFile().isPresent(),
                "Backing format cannot be used without backing file");
        require(
                version >= 3 || !lazy,
                "Lazy refcounts only supported with compatibility level 1.1 and above (use"
                        + " version=v3 or greater)");
        require(
                refcountBits >= 1 && refcountBits <= 64 && Long.bitCount(refcountBits) == 1,
                "Refcount width must be a power of two and may not exceed 64 bits");
        require(
                version >= 3 || refcountBits == 16,
                "Different refcount widths than 16 bits require compatibility level 1.1 or above"
                        + " (use version=v3 or greater)");
        require(
                version >= 3 || !zstd,
                "Non-zlib compression type is only supported with compatibility level 1.1 and above"
                        + " (use version=v3 or greater)");
        require(
                !raw || options.dataFile().isPresent(),
                "data-file-raw requires the use of an external data file");
        require(
                !raw || options.backingFile().isEmpty(),
                "Backing file and data-file-raw cannot be used at the same time");
        require(
                version >= 3 || options.dataFile().isEmpty(),
                "External data files are only supported with compatibility level 1.1 and above (use"
                        + " version=v3 or greater)");
        Header header =
                new Header(
                        new Header.Fresh(
                                version,
                                Long.numberOfTrailingZeros(cluster),
                                0,
                                extended,
                                zstd,
                                (int) refcountBits,
                                options.backingFile(),
                                options.backingFmt(),
                                Optional.ofNullable(nodes.get("data-file"))
                                        .map(BlockNode::filename)));
        header.compatible = lazy ? Header.LAZY_REFCOUNTS : 0;
        header.autoclear = raw ? Header.DATA_FILE_RAW : 0;
        header.reftableOffset = cluster;
        header.reftableClusters = 1;
        return header;
    }

    private static void require(boolean condition, String otherwise) {
        if (!condition) {
            throw QmpException.generic("%s", otherwise);
        }
    }

    /** Header, refcount table and a refcount block that counts the three: a disk of no size. */
    private static void writeEmpty(Header header, BlockNode node) throws BlockIoException {
        ImageFile file = new ImageFile(node);
        int cluster = header.clusterSize;
        node.resize(0);
        node.resize(3L * cluster);
        node.writeZeroes(0, 3L * cluster, RequestFlags.MAY_UNMAP);
        file.write(cluster, ImageFile.buffer(8).putLong(2L * cluster));
        ByteBuffer block = ImageFile.buffer(24);
        int bits = header.refcountBits;
        for (int i = 0; i < 3; i++) {
            switch (bits) {
                case 64 -> block.putLong(8 * i, 1);
                case 32 -> block.putInt(4 * i, 1);
                case 16 -> block.putShort(2 * i, (short) 1);
                default -> {
                    int at = i * bits >>> 3;
                    block.put(at, (byte) (block.get(at) | 1 << (i * bits & 7)));
                }
            }
        }
        file.write(2L * cluster, block);
        byte[] bytes = header.encode();
        file.write(0, bytes, 0, bytes.length);
        node.flush();
    }
}
