package io.blockwharf.core.graph;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.blockwharf.api.qmp.QmpException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.List;
import java.util.Map;
import java.util.Optional;

/** What names in images mean: relative paths, {@code json:}, protocols. */
class ImageNamesTest {
    @ParameterizedTest(name = "{0} in {1} is {2}")
    @CsvSource({
        "base.raw,           /images/disk.qcow2, /images/base.raw",
        "../b/base.raw,      /images/disk.qcow2, /images/../b/base.raw",
        "/abs/base.raw,      /images/disk.qcow2, /abs/base.raw",
        "base.raw,           disk.qcow2,         base.raw",
        "file:base.raw,      /images/disk.qcow2, /images/base.raw",
        "dir/a:b,            /images/disk.qcow2, /images/dir/a:b",
        "nbd://host/e,       /images/disk.qcow2, nbd://host/e",
    })
    void relativeToTheParent(String name, String parent, String resolved) {
        assertEquals(resolved, ImageNames.resolve(name, parent));
    }

    @Test
    void relativeToNothingIsRefused() {
        assertThrows(QmpException.class, () -> ImageNames.resolve("base.raw", "json:{}"));
    }

    @Test
    void plainNamesGetTheirFormatOrAreLookedAt() {
        Map<String, Object> file = Map.of("driver", "file", "filename", "/b");
        assertEquals(
                Map.of("driver", "qcow2", "file", file),
                ImageNames.options("/b", Optional.of("qcow2"), _ -> "raw"));
        assertEquals(
                Map.of("driver", "raw", "file", file),
                ImageNames.options("/b", Optional.empty(), _ -> "raw"));
        assertEquals(file, ImageNames.options("/b", Optional.of("file"), _ -> "raw"));
    }

    @ParameterizedTest
    @CsvSource({
        "null-co://, null-co,",
        "null-aio://, null-aio,",
        "host_device:/dev/x, host_device, /dev/x",
        "/dev/x, host_device, /dev/x",
    })
    void driversWithoutAFormatBelow(String name, String driver, String filename) {
        Map<String, Object> expected =
                filename == null
                        ? Map.of("driver", driver)
                        : Map.of("driver", driver, "filename", filename);
        assertEquals(expected, ImageNames.options(name, Optional.of(driver), _ -> "raw"));
        assertEquals(
                Map.of("driver", "raw", "file", expected),
                ImageNames.options(name, Optional.of("raw"), _ -> "raw"));
    }

    @Test
    void jsonMayBeNestedOrFlatAndItsLeavesAreStrings() {
        assertEquals(
                Map.of(
                        "driver",
                        "qcow2",
                        "read-only",
                        "on",
                        "file",
                        Map.of("driver", "file", "filename", "/\u00e9\n", "x", List.of("1"))),
                ImageNames.options(
                        "json:{\"driver\": \"qcow2\", \"read-only\": true, \"file.x\": [1],"
                                + " \"file.driver\":\"file\", \"file.filename\":\"/\\u00e9\\n\"}",
                        Optional.of("ignored"),
                        _ -> "ignored"));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "json:{",
                "json:[1]",
                "json:{\"a\":1}x",
                "json:{\"a\":1,\"a\":2}",
                "json:{\"a\":\"\\u00\"}",
                "json:{\"a\":tru}",
                "json:{\"a\":--1}",
                "json:{\"a.b\":1,\"a\":2}",
                "null-co://x",
                "nbds:h",
                "gopher://host"
            })
    void whatIsNoNameIsRefused(String name) {
        assertThrows(
                QmpException.class, () -> ImageNames.options(name, Optional.of("raw"), _ -> "raw"));
    }

    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = '|',
            value = {
                "nbd://h:1/e          | inet | h         | 1     | e",
                "nbd://h              | inet | h         | 10809 |",
                "nbd://[::1]/e        | inet | [::1]     | 10809 | e",
                "nbd+unix:///e?socket=/s | unix | /s     |       | e",
                "nbd:h:7:exportname=e | inet | h         | 7     | e",
                "nbd:unix:/s          | unix | /s        |       |"
            })
    void nbd(String name, String type, String place, String port, String export) {
        Map<String, Object> options = ImageNames.options(name, Optional.of("nbd"), _ -> "raw");
        Map<?, ?> server = (Map<?, ?>) options.get("server");
        assertEquals(type, server.get("type"));
        assertEquals(place, server.get(type.equals("unix") ? "path" : "host"));
        assertEquals(port, server.get("port"));
        assertEquals(export, options.get("export"));
    }
}
