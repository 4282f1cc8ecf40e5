package io.blockwharf.qmp.chardev;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Component;

import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;

/** {@code query-chardev-backends}. */
@Component
@QmpName("query-chardev-backends")
public final class QueryChardevBackends
        implements QmpCommand<Nothing, List<QueryChardevBackends.Backend>> {
    /**
     * QAPI {@code ChardevBackendInfo}.
     *
     * @param name a kind of chardev
     */
    public record Backend(String name) {}

    @Override
    public List<Backend> execute(Nothing none) {
        return names().map(Backend::new).toList();
    }

    /** The kinds that there are. */
    public static Stream<String> names() {
        return Stream.of(ChardevBackend.class.getPermittedSubclasses())
                .map(kind -> kind.getSimpleName().toLowerCase(Locale.ROOT));
    }
}
