package io.blockwharf.qcow2;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockdevRef;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.qcow2.Qcow2CreateOptions.CompressionType;
import io.blockwharf.qcow2.Qcow2CreateOptions.PreallocMode;
import io.blockwharf.qcow2.Qcow2CreateOptions.Version;

import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/** Images made here are what qemu-img makes of the same options, as far as it can tell. */
class Qcow2CreatorTest {
    @TempDir Path folder;

    private static final BlockdevRef REF = new BlockdevRef.Reference("file0");

    private Path make(Map<String, String> options) throws Exception {
        Path path = Files.createFile(folder.resolve("made.qcow2"));
        Files.write(folder.resolve("b.raw"), new byte[512]);
        Map<String, BlockNode> nodes = new HashMap<>(Map.of("file", new DiskFile(path, true)));
        Optional<BlockdevRef> data = Optional.empty();
        if (options.containsKey("data_file")) {
            nodes.put("data-file", new DiskFile(Files.createFile(folder.resolve("data")), true));
            data = Optional.of(REF);
        }
        Optional<Boolean> raw = Optional.ofNullable(options.get("data_file_raw")).map("on"::equals);
        try {
            new Qcow2Creator()
                    .create(
                            new Qcow2CreateOptions(
                                    REF,
                                    data,
                                    raw,
                                    bool(options, "extended_l2"),
                                    Long.parseLong(options.getOrDefault("size", "67108864")),
                                    Optional.ofNullable(options.get("compat"))
                                            .map(c -> c.equals("0.10") ? Version.V2 : Version.V3),
                                    Optional.ofNullable(options.get("backing")),
                                    Optional.ofNullable(options.get("format")),
                                    number(options, "cluster_size"),
                                    Optional.ofNullable(options.get("preallocation"))
                                            .map(String::toUpperCase)
                                            .map(PreallocMode::valueOf),
                                    bool(options, "lazy_refcounts"),
                                    number(options, "refcount_bits"),
                                    Optional.ofNullable(options.get("compression_type"))
                                            .map(String::toUpperCase)
                                            .map(CompressionType::valueOf)),
                            nodes);
        } finally {
            nodes.values().forEach(BlockNode::close);
        }
        return path;
    }

    private static Optional<Boolean> bool(Map<String, String> options, String name) {
        return Optional.ofNullable(options.get(name)).map("on"::equals);
    }

    private static Optional<Long> number(Map<String, String> options, String name) {
        return Optional.ofNullable(options.get(name)).map(Long::valueOf);
    }

    private static Map<String, String> parse(String options) {
        Map<String, String> map = new HashMap<>();
        for (String each : options.split(",")) {
            map.put(each.split("=")[0], each.split("=")[1]);
        }
        return map;
    }

    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = '|',
            value = {
                "compat=1.1                             | compat: 1.1",
                "compat=0.10                            | compat: 0.10",
                "cluster_size=512                       | cluster_size: 512",
                "cluster_size=512,refcount_bits=64      | refcount bits: 64",
                "cluster_size=2097152,refcount_bits=1   | refcount bits: 1",
                "extended_l2=on                         | extended l2: true",
                "compression_type=zstd                  | compression type: zstd",
                "lazy_refcounts=on                      | lazy refcounts: true",
                "backing=b.raw,format=raw               | backing file format: raw",
                "preallocation=metadata                 | virtual size: 64 MiB",
                "preallocation=falloc                   | virtual size: 64 MiB",
                "preallocation=full,cluster_size=4096   | virtual size: 64 MiB",
                "preallocation=metadata,extended_l2=on  | extended l2: true",
                "size=1099511627776                     | virtual size: 1 TiB",
                "size=0                                 | virtual size: 0 B",
                "data_file=on                           | data file raw: false",
                "data_file=on,data_file_raw=on          | data file raw: true",
            })
    void qemuImgAccepts(String text, String told) throws Exception {
        Map<String, String> options = parse(text);
        Path path = make(options);
        Disk.check(path, false);
        String info = Disk.run("qemu-img", "info", path.toString()).ok().replace("disk size", "");
        assertTrue(info.contains(told), info);
        long size = Long.parseLong(options.getOrDefault("size", "67108864"));
        if (size >= 1 << 20 && !options.containsKey("data_file")) {
            try (Disk disk = Disk.open(path, true)) {
                byte[] bytes = Disk.filled(100_000, 1);
                disk.write(size - bytes.length, bytes);
                assertArrayEquals(bytes, disk.read(size - bytes.length, bytes.length));
                assertArrayEquals(new byte[1 << 16], disk.read(0, 1 << 16));
            }
            Disk.check(path, false);
        }
        assertEquals(true, Files.size(path) > 0);
    }

    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = '|',
            value = {
                "size=1000                           | Image size must be a multiple of 512 bytes",
                "cluster_size=1000                   | Cluster size must be a power of two",
                "extended_l2=on,cluster_size=4096    | Extended L2 entries are only supported with"
                        + " cl",
                "extended_l2=on,compat=0.10          | Extended L2 entries are only supported with"
                        + " co",
                "refcount_bits=3                     | Refcount width must be a power of two",
                "refcount_bits=8,compat=0.10         | Different refcount widths than 16 bits",
                "compression_type=zstd,compat=0.10   | Non-zlib compression type",
                "lazy_refcounts=on,compat=0.10       | Lazy refcounts only supported",
                "format=raw                          | Backing format cannot be used without",
                "backing=b,preallocation=full        | Backing file and preallocation",
                "data_file_raw=on                    | data-file-raw requires",
            })
    void whatMakesNoSenseIsRefused(String options, String message) {
        String said = assertThrows(QmpException.class, () -> make(parse(options))).getMessage();
        assertTrue(said.startsWith(message), said);
    }
}
