package io.blockwharf.core.control;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.blockwharf.api.export.BlockExportInfo;
import io.blockwharf.api.export.BlockExportOptions;
import io.blockwharf.api.export.BlockExportRemoveMode;
import io.blockwharf.api.export.BlockExports;
import io.blockwharf.api.export.ExportTypeInfo;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.core.qapi.Json;

import org.junit.jupiter.api.Test;
import org.osgi.framework.Version;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;

class MonitorCommandsTest {
    private final List<String> done = new ArrayList<>();

    private final class FakeExports implements BlockExports {
        @Override
        public void add(BlockExportOptions options) {
            throw new AssertionError();
        }

        @Override
        public void remove(String id, BlockExportRemoveMode mode) {
            throw new AssertionError();
        }

        @Override
        public void removeAll(Set<String> ids) {
            done.add("remove all " + new TreeSet<>(ids));
        }

        @Override
        public List<BlockExportInfo> list() {
            return List.of(
                    new BlockExportInfo("c", "nbd", "n", false),
                    new BlockExportInfo("b", "fuse", "n", false),
                    new BlockExportInfo("a", "nbd", "n", true));
        }

        @Override
        public Optional<BlockExportInfo> find(String id) {
            throw new AssertionError();
        }

        @Override
        public Map<String, Object> details(String id) {
            throw new AssertionError();
        }

        @Override
        public List<ExportTypeInfo> types() {
            throw new AssertionError();
        }
    }

    @Test
    void quitEndsTheExportsBeforeAnythingElse() {
        new Quit(new FakeExports(), () -> done.add("stop")).execute(Nothing.NOTHING);

        assertEquals(List.of("remove all [a, b, c]", "stop"), done);
    }

    @Test
    void theVersionIsThatOfTheQemuWeFollowAndThePackageOurs() {
        assertEquals(
                Map.of(
                        "qemu",
                        Map.of("major", 10L, "minor", 2L, "micro", 2L),
                        "package",
                        "blockwharf-0.1.0"),
                Json.of(new QueryVersion(new Version("0.1.0.SNAPSHOT")).execute(Nothing.NOTHING)));
    }
}
