package io.blockwharf.core.object;

import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.List;
import java.util.Map;
import java.util.Optional;

/** QMP {@code qom-list}: the properties and children of an object. */
@Component
@QmpName("qom-list")
public final class QomList implements QmpCommand<QomList.Arguments, List<QomList.Property>> {
    /**
     * The arguments.
     *
     * @param path of the object
     */
    public record Arguments(String path) {}

    /**
     * QAPI {@code ObjectPropertyInfo}.
     *
     * @param name the property's name
     * @param type its type; {@code child<T>} for an object below this one
     * @param description never there
     */
    public record Property(String name, String type, Optional<String> description) {
        static List<Property> of(Map<String, String> types) {
            return types.entrySet().stream()
                    .map(each -> new Property(each.getKey(), each.getValue(), Optional.empty()))
                    .toList();
        }
    }

    private final Qom qom;

    /** Works on that tree. */
    @Activate
    public QomList(@Reference Qom qom) {
        this.qom = qom;
    }

    @Override
    public List<Property> execute(Arguments arguments) {
        return Property.of(qom.properties(arguments.path()));
    }
}
