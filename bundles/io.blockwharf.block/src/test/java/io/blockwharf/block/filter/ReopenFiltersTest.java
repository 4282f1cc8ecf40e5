package io.blockwharf.block.filter;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockdevRef;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.NodeSpec;
import io.blockwharf.api.block.OpenFlags;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.block.filter.BlkdebugOptions.BlkdebugEvent;
import io.blockwharf.block.filter.BlkdebugOptions.BlkdebugInjectErrorOptions;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.lang.foreign.Arena;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** Filters that get other options while they are open, or whose child changes. */
class ReopenFiltersTest {
    private static final BlockdevRef REFERENCE = new BlockdevRef.Reference("child");
    private static final OpenFlags FLAGS = new OpenFlags(false, false, false, false, false, false);

    private final Arena arena = Arena.ofAuto();
    private BlockLimits limits = BlockLimits.NONE;
    private final List<Integer> flagsOfWrites = new ArrayList<>();

    /** A handle on 1 MiB with changing limits. */
    private BlockNode child() {
        return (BlockNode)
                Proxy.newProxyInstance(
                        BlockNode.class.getClassLoader(),
                        new Class<?>[] {BlockNode.class},
                        (self, method, arguments) ->
                                switch (method.getName()) {
                                    case "limits" -> limits;
                                    case "length" -> 1L << 20;
                                    case "driver" -> "qcow2";
                                    case "read" -> null;
                                    case "write" -> {
                                        flagsOfWrites.add((int) arguments[2]);
                                        yield null;
                                    }
                                    case "equals" -> self == arguments[0];
                                    default ->
                                            throw new UnsupportedOperationException(
                                                    method.getName());
                                });
    }

    private static BlockLimits aligned(int bytes) {
        return new BlockLimits(bytes, 1, 0, 1 << 20, bytes);
    }

    private IoVector vector(long bytes) {
        return new IoVector(arena, 1).set(arena.allocate(bytes), 0, bytes);
    }

    @Test
    void blkdebugGoesOnWithItsStateAndTheLimitsOfTheChild() throws BlockIoException {
        var once =
                new BlkdebugInjectErrorOptions(
                        BlkdebugEvent.READ_AIO,
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty(),
                        Optional.of(true),
                        Optional.empty());
        var options =
                new BlkdebugOptions(
                        REFERENCE,
                        Optional.of(512L),
                        Optional.empty(),
                        Optional.of(List.of(once)),
                        Optional.empty());
        BlkdebugDriver driver = new BlkdebugDriver();
        BlockNode child = child();
        var spec = new NodeSpec<>("debug", options, FLAGS, Map.of("image", child));
        try (BlkdebugImage image = (BlkdebugImage) driver.open(spec)) {
            assertThrows(BlockIoException.class, () -> image.read(0, vector(512)));
            limits = aligned(4096);
            assertTrue(driver.reconfigure(image, spec));
            image.read(0, vector(512)); // the rule is spent
            assertEquals(4096, image.limits().requestAlignment());
            // Over another child it begins anew
            var other = new NodeSpec<>("debug", options, FLAGS, Map.of("image", child()));
            assertFalse(driver.reconfigure(image, other));
            assertEquals(Set.of(), driver.changeableOptions());
        }
    }

    @Test
    void someCannotBeReopened() {
        var cor = new CopyOnReadDriver();
        var corOptions = new CopyOnReadDriver.Options(REFERENCE, Optional.empty());
        var corSpec = new NodeSpec<>("cor", corOptions, FLAGS, Map.of("file", child()));
        assertEquals(
                "Block format 'copy-on-read' used by node 'cor' does not support reopening files",
                assertThrows(QmpException.class, () -> cor.reconfigure(cor.open(corSpec), corSpec))
                        .getMessage());
        var compress = new CompressDriver();
        var options = new CompressDriver.Options(REFERENCE);
        var spec = new NodeSpec<>("zip", options, FLAGS, Map.of("file", child()));
        assertEquals(
                "Block format 'compress' used by node 'zip' does not support reopening files",
                assertThrows(
                                QmpException.class,
                                () -> compress.reconfigure(compress.open(spec), spec))
                        .getMessage());
    }

    @ParameterizedTest(name = "clusters of {0}, write of {1}+{2}: {3}")
    @CsvSource({
        "65536, 65536, 65536, true",
        "131072, 131072, 262144, true",
        "131072, 65536, 65536, false",
        "131072, 131072, 65536, false",
        "262144, 786432, 262144, true",
        "2097152, 0, 1048576, true"
    })
    void onlyWholeClustersOfTheChildAreCompressed(
            int cluster, long offset, long bytes, boolean compressed) throws BlockIoException {
        limits = aligned(65_536);
        try (CompressImage image = new CompressImage(child())) {
            limits = new BlockLimits(1, 1, 0, 1 << 20, cluster);
            assertEquals(cluster, image.limits().requestAlignment());
            image.write(offset, vector(bytes), RequestFlags.FUA);
            int expected = RequestFlags.FUA | (compressed ? RequestFlags.COMPRESSED : 0);
            assertEquals(List.of(expected), flagsOfWrites);
        }
    }
}
