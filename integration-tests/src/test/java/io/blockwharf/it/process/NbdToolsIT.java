package io.blockwharf.it.process;

import static io.blockwharf.it.process.Image.MIB;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.file.Path;

/** libnbd's tools and nbd-client: what an administrator points at an NBD server first. */
class NbdToolsIT {
    private static final ObjectMapper JSON = new ObjectMapper();

    @TempDir Path directory;

    private Path socket() {
        return directory.resolve("s");
    }

    private String uri(String export) {
        return "nbd+unix:///" + export + "?socket=" + socket();
    }

    @Test
    void nbdinfoListsTheExportsWithTheirAbilities() throws IOException {
        Path image = Image.sparse(directory.resolve("image"), 16 * MIB);
        Path readOnly = Image.sparse(directory.resolve("read-only"), 8 * MIB);
        try (var _ =
                Daemon.start(
                        directory,
                        "--blockdev",
                        "driver=file,node-name=disk,discard=unmap,filename=" + image,
                        "--blockdev",
                        "driver=file,node-name=ro,read-only=on,filename=" + readOnly,
                        "--nbd-server",
                        "addr.type=unix,addr.path=" + socket(),
                        "--export",
                        "nbd,id=e,node-name=disk,writable=on,name=data,description=a disk",
                        "--export",
                        "nbd,id=r,node-name=ro")) {
            JsonNode list = JSON.readTree(Tools.run("nbdinfo", "--list", "--json", uri("")).ok());
            assertEquals("newstyle-fixed", list.get("protocol").asText());
            assertTrue(list.get("structured").asBoolean());
            assertEquals(2, list.get("exports").size());
            for (JsonNode export : list.get("exports")) {
                boolean writable = export.get("export-name").asText().equals("data");
                assertEquals(writable ? "data" : "ro", export.get("export-name").asText());
                assertEquals(writable ? "a disk" : "", export.path("description").asText());
                assertEquals(writable ? 16 * MIB : 8 * MIB, export.get("export-size").asLong());
                assertEquals("base:allocation", export.get("contexts").get(0).asText());
                assertEquals(!writable, export.get("is_read_only").asBoolean());
                for (String ability :
                        new String[] {
                            "can_cache", "can_df", "can_flush", "can_fua", "can_multi_conn"
                        }) {
                    assertTrue(export.get(ability).asBoolean(), ability);
                }
                for (String ability : new String[] {"can_trim", "can_zero", "can_fast_zero"}) {
                    assertEquals(writable, export.get(ability).asBoolean(), ability);
                }
                assertEquals(1, export.get("block_size_minimum").asLong());
                assertEquals(4096, export.get("block_size_preferred").asLong());
                assertEquals(32 * MIB, export.get("block_size_maximum").asLong());
            }
        }
    }

    @Test
    void nbdinfoMapsDataAndHoles() throws IOException {
        Path image = Image.sparse(directory.resolve("image"), 16 * MIB);
        Image.fill(image, 2 * MIB, (int) MIB, 0x55);
        try (var _ = Daemon.serving(directory, socket(), image, "")) {
            JsonNode map = JSON.readTree(Tools.run("nbdinfo", "--map", "--json", uri("disk")).ok());
            assertEquals(
                    JSON.readTree(
                            """
                            [{"offset": 0, "length": 2097152, "type": 3, "description": "hole,zero"},
                             {"offset": 2097152, "length": 1048576, "type": 0, "description": "data"},
                             {"offset": 3145728, "length": 13631488, "type": 3, "description": "hole,zero"}]
                            """),
                    map);
        }
    }

    @Test
    void nbdcopyWritesAndReadsWithoutAFlippedBit() throws IOException {
        Path source = Image.random(directory.resolve("source"), 24 * MIB + 4096);
        Path image = Image.sparse(directory.resolve("image"), 24 * MIB + 4096);
        Path back = directory.resolve("back");
        try (var _ = Daemon.serving(directory, socket(), image, ",writable=on")) {
            Tools.run("nbdcopy", "--flush", source.toString(), uri("disk")).ok();
            assertEquals(Image.sha256(source), Image.sha256(image), "what reached the file");
            Tools.run("nbdcopy", uri("disk"), back.toString()).ok();
            assertEquals(Image.sha256(source), Image.sha256(back), "what came back");
        }
    }

    @Test
    void nbdcopyCopiesBetweenTwoExportsOverSeveralConnections() throws IOException {
        Path source = Image.random(directory.resolve("source"), 24 * MIB);
        Path target = Image.sparse(directory.resolve("target"), 24 * MIB);
        try (var _ =
                Daemon.start(
                        directory,
                        "--blockdev",
                        "driver=file,node-name=source,read-only=on,filename=" + source,
                        "--blockdev",
                        "driver=file,node-name=target,filename=" + target,
                        "--nbd-server",
                        "addr.type=unix,addr.path=" + socket(),
                        "--export",
                        "nbd,id=s,node-name=source",
                        "--export",
                        "nbd,id=t,node-name=target,writable=on")) {
            Tools.run("nbdcopy", "--connections=4", "--requests=64", uri("source"), uri("target"))
                    .ok();
        }
        assertEquals(Image.sha256(source), Image.sha256(target));
    }

    @ParameterizedTest(name = "nbd-client -l over {0}")
    @ValueSource(strings = {"127.0.0.1", "::1", "unix"})
    void nbdClientListsTheExports(String address) throws IOException {
        Path image = Image.sparse(directory.resolve("image"), MIB);
        boolean unix = address.equals("unix");
        int port = Ports.free();
        try (var _ =
                Daemon.start(
                        directory,
                        "--blockdev",
                        "driver=file,node-name=disk,filename=" + image,
                        "--nbd-server",
                        unix
                                ? "addr.type=unix,addr.path=" + socket()
                                : "addr.type=inet,addr.host=" + address + ",addr.port=" + port,
                        "--export",
                        "nbd,id=a,node-name=disk,name=first,description=the first",
                        "--export",
                        "nbd,id=b,node-name=disk,name=second")) {
            String list =
                    (unix
                                    ? Tools.run("nbd-client", "-unix", socket().toString(), "-l")
                                    : Tools.run(
                                            "nbd-client", "-l", address, Integer.toString(port)))
                            .ok();
            assertTrue(list.contains("first: the first\n"), list);
            assertTrue(list.contains("second\n"), list);
        }
    }
}
