package io.blockwharf.core.object;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.blockwharf.api.qmp.QmpException;

import org.junit.jupiter.api.Test;

import java.util.Optional;

class MainLoopTypeTest {
    private static MainLoopType.Properties properties(Long batch, Long min, Long max) {
        return new MainLoopType.Properties(
                Optional.ofNullable(batch), Optional.ofNullable(min), Optional.ofNullable(max));
    }

    @Test
    void thereIsOneAtMost() throws Exception {
        MainLoopType type = new MainLoopType();
        assertThrows(QmpException.class, () -> type.create("a", properties(null, 9L, 3L)));
        AutoCloseable loop = (AutoCloseable) type.create("a", properties(1L, null, null));
        assertEquals(
                "only one main-loop instance allowed",
                assertThrows(
                                QmpException.class,
                                () -> type.create("b", properties(null, null, null)))
                        .getMessage());
        loop.close();
        type.create("b", properties(null, null, null));
    }

    @Test
    void propertiesHaveThoseOfIothreadsForDefaults() {
        assertEquals(
                properties(0L, 0L, 64L), new MainLoopType().complete(properties(null, null, null)));
        assertEquals(
                "aio-max-batch value must be in range [0, 9223372036854775807]",
                assertThrows(
                                QmpException.class,
                                () -> new MainLoopType().change("x", properties(-1L, null, null)))
                        .getMessage());
    }
}
