package io.blockwharf.core.object;

import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.List;

/** QMP {@code qom-list-properties}: those of a type. */
@Component
@QmpName("qom-list-properties")
public final class QomListProperties
        implements QmpCommand<QomListProperties.Arguments, List<QomList.Property>> {
    /**
     * The arguments.
     *
     * @param typename the type
     */
    public record Arguments(String typename) {}

    private final Qom qom;

    /** Works on that tree. */
    @Activate
    public QomListProperties(@Reference Qom qom) {
        this.qom = qom;
    }

    @Override
    public List<QomList.Property> execute(Arguments arguments) {
        return QomList.Property.of(qom.propertiesOfType(arguments.typename()));
    }
}
