package io.blockwharf.core.object;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

/** QMP {@code qom-set}. */
@Component
@QmpName("qom-set")
public final class QomSet implements QmpCommand<QomSet.Arguments, Nothing> {
    /**
     * The arguments.
     *
     * @param path of the object
     * @param property its name
     * @param value the new value
     */
    public record Arguments(String path, String property, Object value) {}

    private final Qom qom;

    /** Works on that tree. */
    @Activate
    public QomSet(@Reference Qom qom) {
        this.qom = qom;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        qom.set(arguments.path(), arguments.property(), arguments.value());
        return Nothing.NOTHING;
    }
}
