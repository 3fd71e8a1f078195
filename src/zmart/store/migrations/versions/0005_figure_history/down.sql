DROP TABLE figure_history;
