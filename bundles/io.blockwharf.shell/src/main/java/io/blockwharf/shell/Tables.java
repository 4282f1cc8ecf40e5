package io.blockwharf.shell;

import org.apache.felix.service.command.Converter;
import org.osgi.service.component.annotations.Component;

import java.lang.reflect.RecordComponent;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/** Shows records: a list of one kind as a table, a single one as a table with one row. */
@Component(service = Converter.class, property = "osgi.converter.classes=java.lang.Record")
public final class Tables implements Converter {
    @Override
    public Object convert(Class<?> type, Object value) {
        return null; // the contract's word for: not mine
    }

    @Override
    public CharSequence format(Object value, int level, Converter others) {
        return switch (value) {
            case Record row when level == PART -> String.valueOf(row);
            case Record row -> table(List.of(row));
            case List<?> rows when level == INSPECT && isTable(rows) -> table(rows);
            case null, default -> null; // not mine
        };
    }

    private static boolean isTable(List<?> rows) {
        return !rows.isEmpty()
                && rows.getFirst() instanceof Record first
                && rows.stream().allMatch(row -> row != null && row.getClass() == first.getClass());
    }

    private static String table(List<?> rows) {
        RecordComponent[] columns = rows.getFirst().getClass().getRecordComponents();
        List<List<String>> cells = new ArrayList<>();
        cells.add(
                Arrays.stream(columns)
                        .map(RecordComponent::getName)
                        .map(name -> name.replaceAll("(?=[A-Z])", "-").toUpperCase(Locale.ROOT))
                        .toList());
        for (Object row : rows) {
            cells.add(Arrays.stream(columns).map(column -> cell(column, row)).toList());
        }
        StringBuilder text = new StringBuilder();
        for (List<String> line : cells) {
            for (int column = 0; column < columns.length; column++) {
                boolean last = column == columns.length - 1;
                text.append(line.get(column));
                if (!last) {
                    int width = 2;
                    for (List<String> each : cells) {
                        width = Math.max(width, each.get(column).length() + 2);
                    }
                    text.repeat(' ', width - line.get(column).length());
                }
            }
            text.append('\n');
        }
        text.setLength(text.length() - 1);
        return text.toString();
    }

    private static String cell(RecordComponent column, Object row) {
        try {
            return switch (column.getAccessor().invoke(row)) {
                case Optional<?> optional -> optional.map(Object::toString).orElse("-");
                case Boolean truth -> truth ? "yes" : "no";
                case null -> "-";
                case Object value -> value.toString();
            };
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e); // records shown here are public
        }
    }
}
