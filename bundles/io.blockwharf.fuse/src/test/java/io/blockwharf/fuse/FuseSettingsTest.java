package io.blockwharf.fuse;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import java.util.Map;

/** README.md, "Settings". */
class FuseSettingsTest {
    @Test
    void unaskedTheDeviceServesAndImagesArePassedThrough() {
        FuseSettings settings = FuseSettings.of(_ -> null);
        assertTrue(settings.threads() >= 2 && settings.threads() <= 4);
        assertTrue(settings.passthrough());
        assertFalse(settings.ring());
    }

    @Test
    void settingsMayBeStrings() {
        Map<String, Object> properties =
                Map.of("threads", "7", "passthrough", "false", "ring", true);
        assertEquals(new FuseSettings(7, false, true), FuseSettings.of(properties::get));
    }

    @Test
    void thereAreLimits() {
        for (Object threads : new Object[] {0, 65, "many"}) {
            assertThrows(
                    IllegalArgumentException.class,
                    () -> FuseSettings.of(Map.of("threads", threads)::get));
        }
    }
}
