package io.blockwharf.api.export;

import io.blockwharf.api.qmp.Alternate;

import java.util.List;

/** QAPI {@code BlockExportIothreads}: one I/O thread or several. */
@Alternate
public sealed interface BlockExportIothreads {
    /** The ids, in order. */
    List<String> ids();

    /** One thread. */
    record Single(String id) implements BlockExportIothreads {
        @Override
        public List<String> ids() {
            return List.of(id);
        }
    }

    /** Several threads. */
    record Multi(List<String> ids) implements BlockExportIothreads {}
}
