package io.blockwharf.core.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.core.control.Fakes;
import io.blockwharf.core.export.ExportConditions.Condition;
import io.blockwharf.linux.Errnos;
import io.blockwharf.linux.LinuxException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;

class ConfigConditionsTest {
    private final Set<String> published = new TreeSet<>();
    private final List<String> log = new ArrayList<>();
    private final Map<String, String> frameworkProperties = new HashMap<>();

    /** What opening the device answers; 0 for success. */
    private int errno;

    private final Facility device =
            new Facility(
                    "CONFIG_FUSE",
                    "fuse",
                    "/dev/fuse",
                    () -> {
                        if (errno != 0) {
                            throw new LinuxException("open", errno);
                        }
                    });

    private ConfigConditions conditions(Map<String, Object> configuration) {
        return new ConfigConditions(
                List.of(device),
                name -> Optional.ofNullable(frameworkProperties.get(name)),
                id -> {
                    assertTrue(published.add(id), id);
                    return () -> assertTrue(published.remove(id), id);
                },
                configuration,
                Fakes.logger(log));
    }

    /** DESIGN: y, n or auto; the framework property wins over the configuration. */
    @ParameterizedTest(name = "framework {0}, configuration {1}, errno {2}: {4}")
    @CsvSource(
            delimiter = '|',
            nullValues = "-",
            textBlock =
                    """
                    -   | -    | 0  | true  | CONFIG_FUSE=auto, and /dev/fuse works
                    -   | -    | 2  | false | CONFIG_FUSE=auto, but /dev/fuse: No such file or directory
                    -   | auto | 13 | false | CONFIG_FUSE=auto, but /dev/fuse: Permission denied
                    -   | auto | 24 | false | CONFIG_FUSE=auto, but /dev/fuse: Too many open files
                    -   | y    | 2  | true  | CONFIG_FUSE=y
                    -   | n    | 0  | false | CONFIG_FUSE=n
                    -   | N    | 0  | false | CONFIG_FUSE=n
                    -   | m    | 0  | true  | CONFIG_FUSE=m is not y, n or auto, and /dev/fuse works
                    n   | y    | 0  | false | CONFIG_FUSE=n
                    y   | n    | 2  | true  | CONFIG_FUSE=y
                    """)
    void aSwitchDecidesWhetherTheConditionIsThere(
            String framework, String configured, int error, boolean satisfied, String reason) {
        errno = error;
        if (framework != null) {
            frameworkProperties.put("CONFIG_FUSE", framework);
        }

        ConfigConditions conditions =
                conditions(configured == null ? Map.of() : Map.of("CONFIG_FUSE", configured));

        assertEquals(Map.of("fuse", new Condition(satisfied, reason)), conditions.conditions());
        assertEquals(satisfied ? Set.of("CONFIG_FUSE") : Set.of(), published);
    }

    @Test
    void theConditionFollowsTheConfiguration() {
        ConfigConditions conditions = conditions(Map.of());

        conditions.configure(Map.of("CONFIG_FUSE", "n"));
        assertEquals(Set.of(), published);
        conditions.configure(Map.of("CONFIG_FUSE", "y"));
        assertEquals(Set.of("CONFIG_FUSE"), published);
        conditions.configure(Map.of());
        assertEquals(Set.of("CONFIG_FUSE"), published);
    }

    @Test
    void theConditionFollowsTheHost() {
        errno = Errnos.ENOENT;
        ConfigConditions conditions = conditions(Map.of());

        errno = 0;
        conditions.refresh();
        assertEquals(Set.of("CONFIG_FUSE"), published);
        errno = Errnos.ENODEV;
        conditions.refresh();
        assertEquals(Set.of(), published);
    }

    @Test
    void aShortageOfDescriptorsTakesNothingAway() {
        ConfigConditions conditions = conditions(Map.of());

        errno = Errnos.EMFILE;
        conditions.refresh();
        assertEquals(Set.of("CONFIG_FUSE"), published);
    }

    @Test
    void onlyChangesAreLogged() {
        ConfigConditions conditions = conditions(Map.of());
        conditions.refresh();

        assertEquals(1, log.size());
    }

    @Test
    void theEndWithdrawsEverything() {
        ConfigConditions conditions = conditions(Map.of());
        conditions.close();
        conditions.refresh();

        assertEquals(Set.of(), published);
        assertEquals(Map.of(), conditions.conditions());
    }

    @Test
    void everyFacilityOfQemuHasItsSwitch() {
        assertEquals(
                Map.of(
                        "CONFIG_FUSE", "fuse",
                        "CONFIG_VHOST_USER_BLK_SERVER", "vhost-user-blk",
                        "CONFIG_VDUSE_BLK_EXPORT", "vduse-blk"),
                Facility.ALL.stream()
                        .collect(
                                java.util.stream.Collectors.toMap(
                                        Facility::condition, Facility::exportType)));
    }

    @Test
    void aLinuxHostPassesMemoryOverASocket() throws LinuxException {
        for (Facility facility : Facility.ALL) {
            if (facility.exportType().equals("vhost-user-blk")) {
                facility.probe().run();
            }
        }
    }
}
