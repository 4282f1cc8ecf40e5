package io.blockwharf.it;

import static org.junit.Assert.assertEquals;
import static org.ops4j.pax.exam.CoreOptions.frameworkProperty;

import io.blockwharf.api.export.BlockExports;
import io.blockwharf.api.export.ExportTypeInfo;
import io.blockwharf.api.qmp.QmpDispatcher;

import org.junit.Test;
import org.junit.runner.RunWith;
import org.ops4j.pax.exam.Configuration;
import org.ops4j.pax.exam.Option;
import org.ops4j.pax.exam.junit.PaxExam;
import org.ops4j.pax.exam.spi.reactors.ExamReactorStrategy;
import org.ops4j.pax.exam.spi.reactors.PerClass;
import org.osgi.framework.Bundle;
import org.osgi.framework.BundleContext;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;

import javax.inject.Inject;

/** A driver's bundle brings its export type and its commands, and takes them away again. */
@RunWith(PaxExam.class)
@ExamReactorStrategy(PerClass.class)
public class DriverBundlesIT {
    private static final List<String> NBD_COMMANDS =
            List.of(
                    "nbd-client-disconnect",
                    "nbd-server-add",
                    "nbd-server-remove",
                    "nbd-server-start",
                    "nbd-server-stop",
                    "query-nbd-clients",
                    "query-nbd-exports",
                    "query-nbd-servers");

    @Inject BundleContext context;
    @Inject QmpDispatcher dispatcher;
    @Inject BlockExports exports;

    @Configuration
    public Option[] configuration() {
        return new Option[] {
            Distribution.runSet("bundles"),
            frameworkProperty("CONFIG_FUSE").value("y"),
            frameworkProperty("CONFIG_VHOST_USER_BLK_SERVER").value("y"),
            frameworkProperty("CONFIG_VDUSE_BLK_EXPORT").value("y"),
        };
    }

    @Test
    public void nbd() throws Exception {
        comesAndGoes("nbd", "nbd", NBD_COMMANDS);
    }

    @Test
    public void fuse() throws Exception {
        comesAndGoes("fuse", "fuse", List.of());
    }

    @Test
    public void vhostUserBlk() throws Exception {
        comesAndGoes("vhostuser", "vhost-user-blk", List.of());
    }

    @Test
    public void vduseBlk() throws Exception {
        comesAndGoes("vduse", "vduse-blk", List.of());
    }

    private void comesAndGoes(String driver, String type, List<String> commands) throws Exception {
        Path jar = Distribution.HOME.resolve("drivers/io.blockwharf." + driver + ".jar");
        List<String> before = dispatcher.commands();
        for (int round = 0; round < 2; round++) {
            assertTypes(type, false);
            Bundle bundle = context.installBundle(jar.toUri().toString());
            bundle.start();
            assertTypes(type, true);
            TreeSet<String> expected = new TreeSet<>(before);
            expected.addAll(commands);
            assertEquals(List.copyOf(expected), dispatcher.commands());
            bundle.update();
            assertTypes(type, true);
            bundle.stop();
            assertTypes(type, false);
            bundle.uninstall();
            assertEquals(before, dispatcher.commands());
        }
    }

    /** In the registry, in the schema and for block-export-add: the three agree. */
    private void assertTypes(String type, boolean there) {
        assertEquals(
                there,
                exports.types().stream()
                        .filter(info -> info.type().equals(type))
                        .anyMatch(ExportTypeInfo::available));
        assertEquals(there, schemaValues().contains(type));
    }

    /** The values of all enumerations in query-qmp-schema: types have numbers for names there. */
    @SuppressWarnings("unchecked")
    private List<?> schemaValues() {
        List<Map<String, Object>> schema =
                (List<Map<String, Object>>) dispatcher.execute("query-qmp-schema", Map.of());
        return schema.stream()
                .filter(entity -> "enum".equals(entity.get("meta-type")))
                .map(entity -> (List<Object>) entity.get("values"))
                .flatMap(List::stream)
                .toList();
    }
}
